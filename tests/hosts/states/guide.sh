# about: a hand-written guide was followed: RSA 4096 with passphrase, ssh-copy-id done; passwords still on
# inventory: test_identity=BUILD/keys/guide
# inventory: test_identity_passphrase=guide passphrase
before_boot() {
    authorize "$OPERATOR" "$GUIDE_KEY"
}
