const std = @import("std");

fn fib(n: u32) u32 {
    return if (n < 2) n else fib(n - 1) + fib(n - 2);
}

pub fn main(init: std.process.Init) !void {
    var buffer: [1024]u8 = undefined;
    var writer: std.Io.File.Writer = .init(.stdout(), init.io, &buffer);
    const out = &writer.interface;

    for (0..11) |i| {
        try out.print("fib({d}) = {d}\n", .{ i, fib(@intCast(i)) });
    }
    try out.flush();
}
