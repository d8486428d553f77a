#include "app/load/request_bytes.h"

#include <algorithm>
#include <cstring>

namespace doorbuster::load {
namespace {

constexpr std::size_t kBuyerDigitsMin = 6;

void put_padded(char* out, std::size_t digits, std::uint64_t number) {
    for (std::size_t i = digits; i-- > 0; number /= 10) {
        out[i] = static_cast<char>('0' + number % 10);
    }
}

} // namespace

std::size_t buyer_digits(std::uint64_t buyers) {
    return std::max(kBuyerDigitsMin, std::to_string(buyers).size());
}

RequestBytes::RequestBytes(const RequestShape& shape)
    : digits_(buyer_digits(shape.buyers)),
      quantity_digits_(std::to_string(shape.quantity_max).size()) {
    const std::string zeros(digits_, '0');
    const std::string before = "{\"quantity\":";
    // A quantity of fewer digits is followed by spaces, which JSON allows: the length is fixed.
    const std::string body = before + std::string(quantity_digits_, ' ') + '}';

    bytes_ =
        "POST " + shape.path + " HTTP/1.1\r\nHost: " + shape.authority +
        "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\nX-User-Id: ";
    user_at_ = bytes_.size();
    bytes_ += shape.user_prefix + zeros;
    user_size_ = bytes_.size() - user_at_;
    if (shape.keys) {
        bytes_ += "\r\nIdempotency-Key: load-";
        key_number_at_ = bytes_.size();
        bytes_ += zeros;
    }
    bytes_ += "\r\n\r\n";
    quantity_at_ = bytes_.size() + before.size();
    bytes_ += body;
}

std::string_view RequestBytes::for_attempt(const Attempt& attempt) {
    char* const number = bytes_.data() + user_at_ + user_size_ - digits_;
    put_padded(number, digits_, attempt.buyer);
    if (key_number_at_ != 0) std::memcpy(bytes_.data() + key_number_at_, number, digits_);
    if (quantity_digits_ == 1) {
        bytes_[quantity_at_] = static_cast<char>('0' + attempt.quantity);
    } else {
        std::string text = std::to_string(attempt.quantity);
        text.resize(quantity_digits_, ' ');
        std::memcpy(bytes_.data() + quantity_at_, text.data(), quantity_digits_);
    }
    return bytes_;
}

} // namespace doorbuster::load
