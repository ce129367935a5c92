// Copies every record to the output.

#include "transform_guest.hh"

int main() {
  tg::run([](const tg::record& record) {
    if (tg::write(record) < 0) tg::fail("identity: write failed");
  });
}
