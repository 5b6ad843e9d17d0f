"""The customer list as a file: the inbox, and the PDF read in processes of their own."""
