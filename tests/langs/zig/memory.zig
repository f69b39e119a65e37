const std = @import("std");

pub fn main() !void {
    while (true) {
        const chunk = try std.heap.page_allocator.alloc(u8, 1 << 20);
        @memset(chunk, 1);
    }
}
