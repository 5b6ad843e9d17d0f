"""The addresses of the admin service that read Innomaint's sync, and ask it to do something."""
