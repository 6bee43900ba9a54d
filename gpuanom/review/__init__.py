"""What people do with a scored night: look, label, evaluate, export."""
