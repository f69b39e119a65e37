import scala.io.Source

object Main {
  def main(args: Array[String]): Unit =
    print(Source.fromFile("data.txt").mkString)
}
