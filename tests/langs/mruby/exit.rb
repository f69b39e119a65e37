raise "Debian's build has no exit; an error is the only way to a non-zero exit code"
