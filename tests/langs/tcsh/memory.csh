set blocks = (xxxxxxxx xxxxxxxx xxxxxxxx xxxxxxxx)
while (1)
	set blocks = ($blocks $blocks)
end
