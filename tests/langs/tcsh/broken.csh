foreach x (a b
	echo $x
end
