import java.io.File

fun main() {
    print(File("data.txt").readText())
}
