// Writes each record with its value in capitals. Records without a value are dropped.
#include "transform_guest.hh"

#include <string>

int main() {
  std::string text;
  tg::run([&text](const tg::record& record) {
    text = record.value().value_or("");
    if (text.empty()) return;
    for (char& c : text) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    if (tg::write(record.with_value(text)) < 0) tg::fail("the record was not written");
  });
}
