puts("never printed"
