imports.system.exit(3);
