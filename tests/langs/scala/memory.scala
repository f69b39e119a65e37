import scala.collection.mutable.ArrayBuffer

object Main {
  def main(args: Array[String]): Unit = {
    val chunks = ArrayBuffer[Array[Byte]]()
    while (true) chunks += new Array[Byte](1 << 20)
  }
}
