use std::fs;

fn main() -> std::io::Result<()> {
    print!("{}", fs::read_to_string("data.txt")?);
    Ok(())
}
