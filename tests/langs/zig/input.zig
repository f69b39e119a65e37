const std = @import("std");

pub fn main(init: std.process.Init) !void {
    var buffer: [4096]u8 = undefined;
    const content = try std.Io.Dir.cwd().readFile(init.io, "data.txt", &buffer);

    var writer: std.Io.File.Writer = .init(.stdout(), init.io, &.{});
    try writer.interface.writeAll(content);
}
