block=xxxxxxxx
while :; do
	block=$block$block
done
