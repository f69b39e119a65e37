class Main {
	static function fib(n:Int):Int
		return n < 2 ? n : fib(n - 1) + fib(n - 2);

	static function main() {
		for (i in 0...11)
			Sys.println('fib($i) = ${fib(i)}');
	}
}
