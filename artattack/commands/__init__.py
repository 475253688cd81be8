"""The commands, a file for each family. A command calls one public function and prints the result."""
