# needs: gcc make g++
# timeout: 90
# contents-vary: *.o *.so *.a */app *.d *.gcno *.gch *.ninja* */CMakeFiles/* */CMakeCache.txt *.log */Testing/*
# C++ with threads and exceptions across a library of the directory, built by g++, run from there.
. "$(dirname "${BASH_SOURCE[0]}")/../project.sh"
cat > a.cc <<'END'
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <thread>
#include <vector>
namespace fs = std::filesystem;
void thrower(int);
int main() {
  std::vector<std::thread> ts; std::atomic<int> n{0};
  for (int i = 0; i < 8; i++) ts.emplace_back([i, &n] { for (int k = 0; k < 50; k++) { std::ofstream("t" + std::to_string(i) + "." + std::to_string(k)) << i * k; n++; } });
  for (auto& t : ts) t.join();
  long sum = 0; for (auto& e : fs::directory_iterator(".")) if (e.path().filename().string()[0] == 't') { std::ifstream f(e.path()); int v; f >> v; sum += v; fs::remove(e.path()); }
  std::cout << n << " " << sum << "\n"; try { thrower(5); } catch (std::exception& e) { std::cout << e.what() << "\n"; }
  fs::create_directories("x/y/z"); std::ofstream("x/y/f") << "data"; fs::copy("x", "w", fs::copy_options::recursive); fs::rename("w/y", "w/v"); fs::create_symlink("f", "w/v/l"); fs::permissions("w/v/f", fs::perms::owner_read); fs::resize_file("x/y/f", 100);
  std::cout << fs::file_size("x/y/f") << fs::exists("w/v/l") << fs::is_symlink("w/v/l") << fs::hard_link_count("w/v/f") << fs::equivalent("w/v/f", "w/v/l") << " " << fs::remove_all("x") << " " << (fs::space(".").capacity > 0) << " " << fs::canonical("w/v/l").filename() << "\n";
  try { std::ifstream f; f.exceptions(std::ios::failbit); f.open("none"); } catch (std::ios::failure&) { std::cout << "failure\n"; } return 0; }
END
echo '#include <stdexcept>
void thrower(int n) { throw std::runtime_error("thrown " + std::to_string(n)); }' > b.cc; sed -i '1i#include <string>' b.cc; g++ -std=c++17 -shared -fPIC b.cc -o libb.so; g++ -std=c++17 -O1 a.cc -L. -lb '-Wl,-rpath,$ORIGIN' -pthread -o a; ./a; ls; rm a libb.so
