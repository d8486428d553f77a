#include "adapters/webhook/signature.h"

#include <gtest/gtest.h>

namespace doorbuster::webhook {
namespace {

// The vector in the tests of the specification's own libraries.
constexpr std::string_view kSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
constexpr std::string_view kId = "msg_p5jXN8AQM9LWM0D4loKWxJek";
constexpr std::int64_t kTimestamp = 1614265330;
constexpr std::string_view kBody = R"({"test": 2432232314})";
constexpr std::string_view kSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

// Base64 of 32 bytes, as `openssl rand -base64 32` writes it.
constexpr std::string_view kOther = "whsec_/+8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODk=";

TEST(Signature, MatchesThePublishedVector) {
    const auto keys = parse_secrets(kSecret);
    ASSERT_TRUE(keys.has_value());
    EXPECT_EQ(sign(*keys, kId, kTimestamp, kBody), kSignature);
}

TEST(Signature, CoversIdTimestampAndBody) {
    const auto keys = parse_secrets(kSecret);
    ASSERT_TRUE(keys.has_value());
    EXPECT_NE(sign(*keys, "other", kTimestamp, kBody), kSignature);
    EXPECT_NE(sign(*keys, kId, kTimestamp + 1, kBody), kSignature);
    EXPECT_NE(sign(*keys, kId, kTimestamp, "{}"), kSignature);
}

TEST(Signature, SignsWithEachOfSeveralSecrets) {
    const std::string both = std::string(kSecret) + "  " + std::string(kOther) + "\n";
    const auto keys = parse_secrets(both);
    ASSERT_TRUE(keys.has_value());
    ASSERT_EQ(keys->size(), 2U);
    EXPECT_EQ((*keys)[1].size(), 32U);
    EXPECT_EQ((*keys)[1].substr(0, 2), "\xff\xef");
    const auto other = parse_secrets(kOther);
    ASSERT_TRUE(other.has_value());
    EXPECT_EQ(sign(*keys, kId, kTimestamp, kBody),
              std::string(kSignature) + " " + sign(*other, kId, kTimestamp, kBody));
}

TEST(Signature, TakesSecretsOf24To64Bytes) {
    const auto of_size = [](std::size_t groups, std::string_view end) {
        std::string text = "whsec_";
        for (std::size_t i = 0; i < groups; ++i) text += "AAAA";
        return parse_secrets(text.append(end));
    };
    EXPECT_FALSE(of_size(7, "AAA=").has_value()); // 23
    EXPECT_EQ(of_size(8, "").value().front().size(), 24U);
    EXPECT_EQ(of_size(21, "AA==").value().front().size(), 64U);
    EXPECT_FALSE(of_size(21, "AAA=").has_value()); // 65
    EXPECT_FALSE(of_size(1'000'000, "").has_value());
}

TEST(Signature, RefusesWhatIsNoSecretAndSaysHowToMakeOne) {
    for (const std::string_view text :
         {"", "  ", "hush", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
          "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_",
          "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL=Sw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA===",
          "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw hush"}) {
        const auto keys = parse_secrets(text);
        ASSERT_FALSE(keys.has_value()) << text;
        EXPECT_NE(keys.error().context.find("openssl rand -base64 32"), std::string::npos);
        EXPECT_EQ(keys.error().context.find("hush"), std::string::npos);
    }
}

TEST(Signature, RefusesMoreSecretsThanARotationNeeds) {
    std::string text;
    for (std::size_t i = 0; i < kSecretsMax; ++i) text += std::string(kSecret) + " ";
    EXPECT_TRUE(parse_secrets(text).has_value());
    text += kSecret;
    EXPECT_FALSE(parse_secrets(text).has_value());
}

} // namespace
} // namespace doorbuster::webhook
