echo("never printed"
