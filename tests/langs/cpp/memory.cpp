#include <string>
#include <vector>

int main()
{
	std::vector<std::string> blocks;
	for (;;)
		blocks.emplace_back(1000000, 'x');
}
