def broken(:
    echo "never printed"
