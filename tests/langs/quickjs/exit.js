import * as std from "std";

std.exit(3);
