"""What is known of cameras: the rules that read their headers, and where their CCDs lie."""
