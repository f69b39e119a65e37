(display "never printed"
