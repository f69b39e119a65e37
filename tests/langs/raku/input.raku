print slurp 'data.txt';
