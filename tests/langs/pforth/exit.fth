\ the number of an exception that nobody catches becomes the exit code
3 throw
