: spin begin again ;

spin
