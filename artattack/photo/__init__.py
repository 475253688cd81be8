"""One photo: paint it, and show what each classifier sees before and after."""
