val _ = Posix.Process.exit 0w3;
