"""The commands, one file a family: each is one call of a public function, and what it prints."""
