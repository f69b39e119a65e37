open(my $data, "<", "data.txt") or die $!;
print while <$data>;
