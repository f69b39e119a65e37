while (1, );
