s/open/
