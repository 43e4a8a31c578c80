# about: as installed: passwords on, sudo asks for the login password
before_boot() { exempt_tester; }
