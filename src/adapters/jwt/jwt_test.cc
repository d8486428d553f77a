#include "adapters/jwt/jwt.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gtest/gtest.h>
#include <rhonabwy.h>
#include <unistd.h>

#include "adapters/jwt/key.h"
#include "adapters/jwt/members.h"

namespace doorbuster::jwt {
namespace {

using std::chrono::seconds;

const TimePoint kNow = TimePoint(seconds(1'800'000'000));
const std::string kSecret = "0123456789abcdef0123456789abcdef";
const std::string kClaims = R"({"sub":"ann","exp":1800000600})";

std::string encode(std::string_view bytes) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string out;
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : bytes) {
        bits = bits << 8 | static_cast<unsigned char>(c);
        count += 8;
        while (count >= 6) {
            count -= 6;
            out += kDigits[bits >> count & 63];
        }
    }
    if (count > 0) out += kDigits[bits << (6 - count) & 63];
    return out;
}

gnutls_datum_t datum(const std::string& bytes) {
    gnutls_datum_t out{};
    out.data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
    out.size = static_cast<unsigned>(bytes.size());
    return out;
}

std::string take(gnutls_datum_t& from) {
    std::string out(reinterpret_cast<const char*>(from.data), from.size);
    gnutls_free(from.data);
    return out;
}

// A pair of keys made for the test.
class Pair {
public:
    Pair(gnutls_pk_algorithm_t kind, unsigned bits) : kind_(kind) {
        gnutls_privkey_init(&private_);
        EXPECT_GE(gnutls_privkey_generate(private_, kind, bits, 0), 0);
        gnutls_pubkey_init(&public_);
        EXPECT_GE(gnutls_pubkey_import_privkey(public_, private_, 0, 0), 0);
    }
    ~Pair() {
        gnutls_privkey_deinit(private_);
        gnutls_pubkey_deinit(public_);
    }
    Pair(const Pair&) = delete;
    Pair& operator=(const Pair&) = delete;

    [[nodiscard]] gnutls_privkey_t private_key() const { return private_; }
    [[nodiscard]] std::string pem() const {
        gnutls_datum_t out{};
        EXPECT_GE(gnutls_pubkey_export2(public_, GNUTLS_X509_FMT_PEM, &out), 0);
        return take(out);
    }
    // `extra` is put in front of the other members: "\"kid\":\"a\",".
    [[nodiscard]] std::string jwk(const std::string& extra = "") const {
        jwk_t* jwk = nullptr;
        EXPECT_EQ(r_jwk_init(&jwk), RHN_OK);
        EXPECT_EQ(r_jwk_import_from_gnutls_pubkey(jwk, public_), RHN_OK);
        r_jwk_delete_property_str(jwk, "kid");
        return text_of(jwk, extra);
    }
    [[nodiscard]] std::string private_jwk() const {
        jwk_t* jwk = nullptr;
        EXPECT_EQ(r_jwk_init(&jwk), RHN_OK);
        EXPECT_EQ(r_jwk_import_from_gnutls_privkey(jwk, private_), RHN_OK);
        return text_of(jwk, "");
    }
    [[nodiscard]] std::string sign(const std::string& text) const {
        const gnutls_datum_t data = datum(text);
        gnutls_datum_t out{};
        const auto how = kind_ == GNUTLS_PK_RSA     ? GNUTLS_SIGN_RSA_SHA256
                         : kind_ == GNUTLS_PK_ECDSA ? GNUTLS_SIGN_ECDSA_SHA256
                                                    : GNUTLS_SIGN_EDDSA_ED25519;
        EXPECT_GE(gnutls_privkey_sign_data2(private_, how, 0, &data, &out), 0);
        if (kind_ != GNUTLS_PK_ECDSA) return take(out);
        gnutls_datum_t r{};
        gnutls_datum_t s{};
        EXPECT_GE(gnutls_decode_rs_value(&out, &r, &s), 0);
        gnutls_free(out.data);
        return widened(take(r)) + widened(take(s));
    }

private:
    static std::string text_of(jwk_t* jwk, const std::string& extra) {
        char* text = r_jwk_export_to_json_str(jwk, 0);
        std::string out = text;
        r_free(text);
        r_jwk_free(jwk);
        return out.insert(1, extra);
    }
    // Exactly 32 bytes.
    static std::string widened(std::string number) {
        while (number.size() > 32) number.erase(0, 1);
        return std::string(32 - number.size(), '\0') + number;
    }

    gnutls_pk_algorithm_t kind_;
    gnutls_privkey_t private_ = nullptr;
    gnutls_pubkey_t public_ = nullptr;
};

constexpr unsigned kP256 = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
constexpr unsigned kEd25519 = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519);

// Made once: an RSA key takes a while.
const Pair& rsa() {
    static const Pair pair(GNUTLS_PK_RSA, 2'048);
    return pair;
}
const Pair& ec() {
    static const Pair pair(GNUTLS_PK_ECDSA, kP256);
    return pair;
}
const Pair& ed() {
    static const Pair pair(GNUTLS_PK_EDDSA_ED25519, kEd25519);
    return pair;
}

std::string unsigned_text(const std::string& header, const std::string& claims) {
    return encode(header) + "." + encode(claims);
}

std::string hmac(const std::string& text, const std::string& secret) {
    std::string out(32, '\0');
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret.data(), secret.size(), text.data(), text.size(),
                     out.data());
    return out;
}

std::string hs256(const std::string& header, const std::string& claims,
                  const std::string& secret = kSecret) {
    const std::string text = unsigned_text(header, claims);
    return text + "." + encode(hmac(text, secret));
}

std::string token(const Pair& pair, const std::string& header,
                  const std::string& claims = kClaims) {
    const std::string text = unsigned_text(header, claims);
    return text + "." + encode(pair.sign(text));
}

Verifier verifier(std::vector<std::string> keys) {
    Options options;
    options.keys = std::move(keys);
    auto made = Verifier::create(options);
    EXPECT_TRUE(made.has_value()) << made.error().context;
    return std::move(made).value();
}

std::string create_error(std::string key) {
    Options options;
    options.keys = {std::move(key)};
    const auto made = Verifier::create(options);
    return made ? "" : made.error().context;
}

// The user, or "!" and why not.
std::string outcome(const Verifier& with, const std::string& given, TimePoint now = kNow) {
    const auto user = with.verify(given, now);
    if (user) return *user;
    EXPECT_TRUE(user.error().is(Errc::invalid));
    return "!" + user.error().context;
}

std::string claims_outcome(const std::string& claims) {
    return outcome(verifier({"hs256:" + kSecret}), hs256(R"({"alg":"HS256"})", claims));
}

const std::string kRs = R"({"alg":"RS256","typ":"JWT"})";
const std::string kEs = R"({"alg":"ES256"})";
const std::string kEdDsa = R"({"alg":"EdDSA"})";
const std::string kHs = R"({"alg":"HS256"})";

TEST(Jwt, TakesEveryAlgorithmWithPemAndJwk) {
    EXPECT_EQ(outcome(verifier({"hs256:" + kSecret}), hs256(kHs, kClaims)), "ann");
    EXPECT_EQ(
        outcome(verifier({R"({"kty":"oct","k":")" + encode(kSecret) + "\"}"}), hs256(kHs, kClaims)),
        "ann");
    for (const auto& [pair, header] :
         {std::pair{&rsa(), kRs}, std::pair{&ec(), kEs}, std::pair{&ed(), kEdDsa}}) {
        EXPECT_EQ(outcome(verifier({pair->pem()}), token(*pair, header)), "ann") << header;
        EXPECT_EQ(outcome(verifier({pair->jwk()}), token(*pair, header)), "ann") << header;
    }
}

TEST(Jwt, TakesTokensThatAnotherImplementationMade) {
    for (const auto& [pair, algorithm] :
         {std::pair{&rsa(), R_JWA_ALG_RS256}, std::pair{&ec(), R_JWA_ALG_ES256},
          std::pair{&ed(), R_JWA_ALG_EDDSA}}) {
        jwt_t* jwt = nullptr;
        ASSERT_EQ(r_jwt_init(&jwt), RHN_OK);
        r_jwt_set_sign_alg(jwt, algorithm);
        r_jwt_set_claim_str_value(jwt, "sub", "bob");
        r_jwt_set_claim_int_value(jwt, "exp", 1'800'000'600);
        jwk_t* jwk = nullptr;
        ASSERT_EQ(r_jwk_init(&jwk), RHN_OK);
        r_jwk_import_from_gnutls_privkey(jwk, pair->private_key());
        char* text = r_jwt_serialize_signed(jwt, jwk, 0);
        ASSERT_NE(text, nullptr);
        EXPECT_EQ(outcome(verifier({pair->pem()}), text), "bob");
        r_free(text);
        r_jwk_free(jwk);
        r_jwt_free(jwt);
    }
}

TEST(Jwt, TakesEs256SignaturesWhoseNumbersStartWithZeros) {
    // One in 128 signatures has a number with a leading zero byte.
    const Verifier with = verifier({ec().pem()});
    int with_zero = 0;
    for (int i = 0; i < 1'500 && with_zero < 3; ++i) {
        const std::string text =
            unsigned_text(kEs, R"({"exp":1800000600,"sub":"u)" + std::to_string(i) + "\"}");
        const std::string signature = ec().sign(text);
        if (signature[0] != '\0' && signature[32] != '\0') continue;
        ++with_zero;
        EXPECT_EQ(outcome(with, text + "." + encode(signature)), "u" + std::to_string(i));
    }
    EXPECT_GT(with_zero, 0);
}

TEST(Jwt, RefusesAnAlgorithmThatIsNotTheKeys) {
    // The classic: the public key, which everybody has, as the secret of a MAC.
    EXPECT_TRUE(outcome(verifier({rsa().pem()}), hs256(kHs, kClaims, rsa().pem()))
                    .starts_with("!no key fits"));
    EXPECT_TRUE(outcome(verifier({rsa().jwk()}), hs256(kHs, kClaims, rsa().jwk()))
                    .starts_with("!no key fits"));
    EXPECT_TRUE(outcome(verifier({ec().pem()}), token(ed(), kEdDsa)).starts_with("!no key fits"));
    EXPECT_TRUE(outcome(verifier({ed().pem()}), token(ed(), kEs)).starts_with("!no key fits"));
    EXPECT_TRUE(
        outcome(verifier({rsa().pem(), "hs256:" + kSecret}), hs256(kHs, kClaims, rsa().pem()))
            .starts_with("!the token's signature is wrong"));
    for (const char* name : {"none", "None", "NONE", "hs256", "HS384", "RS512", "PS256", "ES384",
                             "RSA-OAEP", "", "HS256 "}) {
        const std::string header = std::string(R"({"alg":")") + name + "\"}";
        EXPECT_TRUE(outcome(verifier({"hs256:" + kSecret}), hs256(header, kClaims))
                        .starts_with("!the token's alg"))
            << name;
    }
    EXPECT_TRUE(
        outcome(verifier({"hs256:" + kSecret}), unsigned_text(R"({"alg":"none"})", kClaims) + ".")
            .starts_with("!not a token"));
}

TEST(Jwt, RefusesAChangedTokenAndAnotherKeys) {
    const Verifier with = verifier({ed().pem()});
    const std::string good = token(ed(), kEdDsa);
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        EXPECT_EQ(outcome(with, bad)[0], '!') << i;
    }
    for (std::size_t length = 0; length < good.size(); ++length) {
        EXPECT_EQ(outcome(with, good.substr(0, length))[0], '!') << length;
    }
    const Pair other(GNUTLS_PK_EDDSA_ED25519, kEd25519);
    EXPECT_EQ(outcome(with, token(other, kEdDsa)), "!the token's signature is wrong");
}

TEST(Jwt, ChoosesTheKeyByItsIdWhileKeysRotate) {
    const Pair next(GNUTLS_PK_ECDSA, kP256);
    const std::string set =
        "{\"keys\":[" + ec().jwk(R"("kid":"old",)") + "," + next.jwk(R"("kid":"new",)") + "]}";
    const Verifier with = verifier({set});
    EXPECT_EQ(outcome(with, token(ec(), R"({"alg":"ES256","kid":"old"})")), "ann");
    EXPECT_EQ(outcome(with, token(next, R"({"alg":"ES256","kid":"new"})")), "ann");
    EXPECT_EQ(outcome(with, token(next, kEs)), "ann"); // no kid: each is tried
    EXPECT_EQ(outcome(with, token(next, R"({"alg":"ES256","kid":"old"})")),
              "!the token's signature is wrong");
    EXPECT_TRUE(
        outcome(with, token(next, R"({"alg":"ES256","kid":"newer"})")).starts_with("!no key fits"));
    EXPECT_EQ(outcome(with, token(next, R"({"alg":"ES256","kid":7})")),
              "!the token's kid is not a key id");
    // A PEM key has no id and serves every token; two listed side by side are a rotation, too.
    const Verifier pems = verifier({ec().pem() + next.pem()});
    EXPECT_EQ(outcome(pems, token(ec(), R"({"alg":"ES256","kid":"x"})")), "ann");
    EXPECT_EQ(outcome(pems, token(next, R"({"alg":"ES256","kid":"y"})")), "ann");
}

TEST(Jwt, ReadsKeysFromFiles) {
    std::string name = (std::filesystem::temp_directory_path() / "doorbuster-XXXXXX").string();
    const int descriptor = mkstemp(name.data());
    ASSERT_GE(descriptor, 0);
    close(descriptor);
    std::ofstream(name) << "hs256:" << kSecret << "\n";
    EXPECT_EQ(outcome(verifier({"file:" + name}), hs256(kHs, kClaims)), "ann");
    std::ofstream(name) << rsa().pem();
    EXPECT_EQ(outcome(verifier({"file:" + name}), token(rsa(), kRs)), "ann");
    std::filesystem::remove(name);
    EXPECT_EQ(create_error("file:" + name), "key 1: cannot read " + name);
}

TEST(Jwt, HonoursTheTimesWithLeeway) {
    const auto at = [](const std::string& claims, std::int64_t s) {
        return outcome(verifier({"hs256:" + kSecret}), hs256(kHs, claims), TimePoint(seconds(s)));
    };
    const std::string claims = R"({"sub":"ann","nbf":1000,"exp":2000})";
    EXPECT_EQ(at(claims, 969), "!the token is not valid yet");
    EXPECT_EQ(at(claims, 970), "ann");
    EXPECT_EQ(at(claims, 2'029), "ann");
    EXPECT_EQ(at(claims, 2'030), "!the token has expired");
    EXPECT_EQ(at(R"({"sub":"ann","exp":2000.5})", 2'030), "ann");
    EXPECT_EQ(at(R"({"sub":"ann","exp":1e300})", 2'030), "ann");
    EXPECT_EQ(claims_outcome(R"({"sub":"ann","exp":-1})"), "!the token has expired");
    EXPECT_EQ(claims_outcome(R"({"sub":"ann"})"), "!the token has no exp");
    EXPECT_EQ(claims_outcome(R"({"sub":"ann","exp":"1800000600"})"), "!the token has no exp");
    EXPECT_EQ(claims_outcome(R"({"sub":"ann","exp":null})"), "!the token has no exp");
    EXPECT_EQ(claims_outcome(R"({"sub":"ann","exp":1800000600,"nbf":"x"})"),
              "!the token's nbf is not a number");
}

TEST(Jwt, ChecksIssuerAndAudience) {
    Options options;
    options.keys = {"hs256:" + kSecret};
    options.issuer = "https://id.example";
    options.audience = "shop";
    const auto with = Verifier::create(options);
    ASSERT_TRUE(with.has_value());
    const auto given = [&](const std::string& rest) {
        return outcome(*with, hs256(kHs, R"({"sub":"ann","exp":1800000600)" + rest + "}"));
    };
    const std::string iss = R"(,"iss":"https://id.example")";
    EXPECT_EQ(given(iss + R"(,"aud":"shop")"), "ann");
    EXPECT_EQ(given(iss + R"(,"aud":["other","shop"])"), "ann");
    EXPECT_EQ(given(R"(,"aud":"shop")"), "!the token's iss is another");
    EXPECT_EQ(given(R"(,"iss":"https://id.example.","aud":"shop")"), "!the token's iss is another");
    for (const char* aud :
         {"", R"(,"aud":"shops")", R"(,"aud":["shops"])", R"(,"aud":[])", R"(,"aud":["shop",1])",
          R"(,"aud":[["shop"]])", R"(,"aud":{"a":"shop"})", R"(,"aud":null)"}) {
        EXPECT_EQ(given(iss + aud), "!the token's aud is another") << aud;
    }
}

TEST(Jwt, RefusesASubjectThatIsNoUserId) {
    EXPECT_EQ(claims_outcome(R"({"sub":"Ænn 1","exp":1800000600})"), "Ænn 1");
    for (const std::string sub : {R"("")", R"(" ann")", R"("a\u0000b")", R"("a\nb")", "1", "null",
                                  R"(["ann"])", R"({"sub":"ann"})"}) {
        EXPECT_EQ(claims_outcome(R"({"exp":1800000600,"sub":)" + sub + "}"),
                  "!the token's sub is no user id")
            << sub;
    }
    EXPECT_EQ(claims_outcome(R"({"exp":1800000600,"sub":")" + std::string(129, 'a') + "\"}"),
              "!the token's sub is no user id");
    EXPECT_EQ(claims_outcome(R"({"exp":1800000600})"), "!the token's sub is no user id");
}

TEST(Jwt, RefusesOddJson) {
    for (const std::string claims : {R"({"sub":"ann","sub":"bob","exp":1800000600})",
                                     R"({"sub":"ann","exp":1800000600,"\u0073ub":"bob"})", "[]",
                                     "\"ann\"", "1", "null", "", "{",
                                     R"({"sub":"ann","exp":1800000600} )"
                                     "x",
                                     R"({"sub":"ann","exp":1800000600,})", R"({'sub':'ann'})",
                                     "{\"sub\":\"\xff\",\"exp\":1800000600}"}) {
        EXPECT_EQ(claims_outcome(claims)[0], '!') << claims;
    }
    EXPECT_EQ(claims_outcome(R"({"x":)" + std::string(2'000, '[') + std::string(2'000, ']') +
                             R"(,"sub":"ann","exp":1800000600})"),
              "!the token's claims cannot be read");
    std::string many = R"({"sub":"ann","exp":1800000600)";
    for (int i = 0; i < 100; ++i) many += ",\"c" + std::to_string(i) + "\":1";
    EXPECT_EQ(claims_outcome(many + "}"), "!the token's claims cannot be read");
    EXPECT_EQ(claims_outcome(R"({"a":{"sub":"bob","exp":1},"b":[{"sub":"bob"},["x"]],"sub":"ann",)"
                             R"("exp":1800000600,"c":[1,2],"d":true,"e":null})"),
              "ann");
    for (const std::string header :
         {R"({"alg":"HS256","alg":"HS256"})", R"({"alg":["HS256"]})", "{}", "[]",
          R"({"alg":"HS256","crit":["exp"],"exp":1})", R"({"alg":"HS256","crit":[]})",
          R"({"alg":"HS256","b64":false,"crit":["b64"]})"}) {
        EXPECT_EQ(outcome(verifier({"hs256:" + kSecret}), hs256(header, kClaims))[0], '!')
            << header;
    }
}

TEST(Jwt, RefusesOddForms) {
    const Verifier with = verifier({"hs256:" + kSecret});
    const std::string good = hs256(kHs, kClaims);
    for (const std::string& bad :
         {std::string(), std::string("."), std::string(".."), std::string("a.b"), good + ".",
          good + ".x", " " + good, good + " ", good + "=", good + "\n", "." + good,
          std::string(kTokenBytesMax + 1, 'a'), std::string(kTokenBytesMax, '.')}) {
        EXPECT_EQ(outcome(with, bad)[0], '!') << bad;
    }
    // The longest that fits, and one byte more.
    const auto padded = [](std::size_t size) {
        return hs256(kHs,
                     R"({"sub":"ann","exp":1800000600,"x":")" + std::string(size, 'x') + "\"}");
    };
    std::size_t size = 5'900;
    while (padded(size + 1).size() <= kTokenBytesMax) ++size;
    EXPECT_EQ(outcome(with, padded(size)), "ann");
    EXPECT_EQ(outcome(with, padded(size + 1))[0], '!');
}

TEST(Jwt, RefusesWeakAndUnfitKeysAtStart) {
    EXPECT_EQ(create_error("hs256:" + kSecret.substr(1)),
              "key 1: the HS256 secret has 31 bytes; it must have at least 32");
    EXPECT_EQ(create_error(R"({"kty":"oct","k":"c2hvcnQ"})"),
              "key 1: the HS256 secret has 5 bytes; it must have at least 32");
    EXPECT_EQ(create_error("hs256:" + rsa().pem()), "key 1: PEM text is no HS256 secret");
    const Pair weak(GNUTLS_PK_RSA, 1'024);
    EXPECT_EQ(create_error(weak.pem()),
              "key 1: the RSA key has 1024 bits; it must have 2048 to 16384");
    EXPECT_EQ(create_error("{\"keys\":[" + rsa().jwk() + "," + weak.jwk() + "]}"),
              "key 1: the RSA key has 1024 bits; it must have 2048 to 16384");
    const Pair p384(GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1));
    EXPECT_TRUE(create_error(p384.pem()).starts_with("key 1: not a key for HS256"));
    EXPECT_EQ(create_error(ec().private_jwk()), "key 1: a private key: give the public one");
    EXPECT_EQ(create_error("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"),
              "key 1: a private key: give the public one");
    EXPECT_EQ(create_error(rsa().jwk(R"("alg":"ES256",)")),
              "key 1: the JWK's alg ES256 does not fit its kty");
    EXPECT_TRUE(create_error(rsa().jwk(R"("use":"enc",)")).starts_with("key 1: not a key"));
    EXPECT_TRUE(create_error(rsa().jwk(R"("alg":"PS256",)")).starts_with("key 1: not a key"));
    for (const char* odd : {"", "secret", "{", "{}", "[]", R"({"keys":[]})", R"({"keys":1})",
                            R"({"kty":"EC","crv":"P-256","x":"AA","y":"AA"})",
                            "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"}) {
        EXPECT_NE(create_error(odd), "") << odd;
    }
    EXPECT_FALSE(Verifier::create({}).has_value());
}

TEST(Jwt, TakesATextOfNoOtherFormAsAnHs256Secret) {
    EXPECT_EQ(outcome(verifier({kSecret}), hs256(kHs, kClaims)), "ann");
    EXPECT_EQ(
        outcome(verifier({"hs256:" + kSecret, kSecret + "2"}), hs256(kHs, kClaims, kSecret + "2")),
        "ann");
    // A secret in base 64 is these bytes, not what they would decode to.
    const std::string coded = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA==";
    EXPECT_EQ(outcome(verifier({coded}), hs256(kHs, kClaims, coded)), "ann");
    const std::string odd = "{ is no JSON, and a secret all the same }";
    EXPECT_EQ(outcome(verifier({"hs256:" + odd}), hs256(kHs, kClaims, odd)), "ann");
    EXPECT_EQ(create_error(kSecret.substr(1)),
              "key 1: the HS256 secret has 31 bytes; it must have at least 32");
}

TEST(Jwt, TakesNoPublicTextAsASecretByMistake) {
    const std::string pem = rsa().pem();
    std::string bare = pem.substr(pem.find('\n') + 1);
    bare.resize(bare.find("-----END"));
    std::string one_line = bare;
    std::erase(one_line, '\n');
    for (const std::string& damaged :
         {pem.substr(1), pem.substr(5), "key: " + pem, bare + "-----END PUBLIC KEY-----", bare,
          one_line, rsa().jwk().substr(1), "{" + kSecret, "[" + kSecret, "\"" + rsa().jwk() + "\"",
          std::string("https://id.example/.well-known/jwks.json"),
          std::string("/etc/doorbuster/keys/of/the/issuer-2026.pem")}) {
        EXPECT_NE(create_error(damaged), "") << damaged;
    }
    EXPECT_EQ(create_error(pem.substr(1)), "key 1: damaged PEM text, no HS256 secret");
    EXPECT_EQ(create_error(one_line), "key 1: a public key without its PEM frame, no HS256 secret");
}

TEST(Jwt, PassesOverKeysOfASetThatAreForSomethingElse) {
    const Pair p384(GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1));
    const std::string set = "{\"keys\":[" + p384.jwk() + "," + rsa().jwk(R"("use":"enc",)") +
                            R"(,{"kty":"new"},)" + ed().jwk(R"("use":"sig","alg":"EdDSA",)") + "]}";
    const Verifier with = verifier({set});
    EXPECT_EQ(outcome(with, token(ed(), kEdDsa)), "ann");
    EXPECT_TRUE(outcome(with, token(rsa(), kRs)).starts_with("!no key fits"));
}

TEST(Jwt, DecodesOnlyOneSpellingOfBase64Url) {
    EXPECT_EQ(decode_base64url(""), "");
    EXPECT_EQ(decode_base64url("YQ"), "a");
    EXPECT_EQ(decode_base64url("_-8"), "\xff\xef");
    for (const char* bad : {"Y", "YR", "YQ==", "YQ=", "+/8", "Y Q", "YQ\n", "YWJjZ"}) {
        EXPECT_FALSE(decode_base64url(bad).has_value()) << bad;
    }
}

} // namespace
} // namespace doorbuster::jwt
