echo (never printed
