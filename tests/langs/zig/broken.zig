pub fn main() void {
    never_declared(;
}
