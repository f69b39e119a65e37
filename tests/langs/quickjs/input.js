import * as std from "std";

std.out.puts(std.loadFile("data.txt"));
