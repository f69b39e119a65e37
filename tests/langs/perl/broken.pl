sub fib { my ($n = @_;
