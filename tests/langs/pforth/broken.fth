: broken never-declared ;

broken
