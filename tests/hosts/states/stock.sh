# about: as installed: passwords on, sudo asks for the login password
