(format t "never printed~%"
