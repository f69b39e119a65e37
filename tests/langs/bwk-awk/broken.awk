BEGIN { print("never printed"
