"""Made-up voices in the shape that Ultravox documents for `GET /api/voices`."""

import uuid
from typing import Any, NamedTuple

Voice = dict[str, Any]

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://sandbox.example/voices")


class Language(NamedTuple):
    tag: str
    label: str
    names: tuple[str, ...]
    greeting: str


def _flag(region: str) -> str:
    return "".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in region)


def _in(tag: str, label: str, names: str, greeting: str) -> Language:
    flag = _flag(tag.partition("-")[2])
    return Language(tag, f"{flag} {label}", tuple(names.split(", ")), greeting)


LANGUAGES = (
    _in("en-US", "English (United States)", "Marlow, Juniper, Tess", "Hi there!"),
    _in("en-GB", "English (United Kingdom)", "Alistair, Imogen", "Hello there."),
    _in("en-AU", "English (Australia)", "Bronte, Lachlan", "G'day."),
    _in("en-IN", "English (India)", "Kavya, Rohan", "Hello and welcome."),
    _in("ar-SA", "Arabic (Saudi Arabia)", "ليلى, فيصل, نورة", "مرحبًا، كيف يمكنني مساعدتك اليوم؟"),
    _in("ar-EG", "Arabic (Egypt)", "كريم, ياسمين", "أهلًا بيك، أقدر أساعدك إزاي؟"),
    _in("he-IL", "Hebrew (Israel)", "נועה, איתן", "שלום, איך אפשר לעזור לך היום?"),
    _in("fa-IR", "Persian (Iran)", "شیرین, آرش", "سلام، چطور می‌توانم کمکتان کنم؟"),
    _in("ur-PK", "Urdu (Pakistan)", "عائشہ, حمزہ", "السلام علیکم، میں آپ کی کیا مدد کر سکتی ہوں؟"),
    _in("zh-CN", "Chinese (Mandarin, Simplified)", "晓雨, 子轩", "您好，请问有什么可以帮您？"),
    _in("zh-TW", "Chinese (Taiwan)", "雅婷, 冠宇", "您好，請問有什麼可以為您服務？"),
    _in("yue-HK", "Cantonese (Hong Kong)", "嘉欣, 俊傑", "你好，有咩可以幫到你？"),
    _in("ja-JP", "Japanese (Japan)", "さくら, 健太", "こんにちは。今日はどうされましたか？"),
    _in("ko-KR", "Korean (South Korea)", "서연, 민준", "안녕하세요, 무엇을 도와드릴까요?"),
    _in("hi-IN", "Hindi (India)", "अनन्या, विक्रम", "नमस्ते, मैं आपकी क्या मदद कर सकती हूँ?"),
    _in("bn-BD", "Bengali (Bangladesh)", "মিতালি, রাহুল", "নমস্কার, কীভাবে সাহায্য করতে পারি?"),
    _in("ta-IN", "Tamil (India)", "கவிதா, அருண்", "வணக்கம், நான் எப்படி உதவலாம்?"),
    _in("th-TH", "Thai (Thailand)", "มะลิ, ธนา", "สวัสดีค่ะ มีอะไรให้ช่วยไหมคะ"),
    _in("vi-VN", "Vietnamese (Vietnam)", "Thảo, Minh Đức", "Xin chào, tôi giúp gì được?"),
    _in("id-ID", "Indonesian (Indonesia)", "Putri, Bagus", "Halo, ada yang bisa dibantu?"),
    _in("fil-PH", "Filipino (Philippines)", "Dalisay, Bayani", "Kumusta po!"),
    _in("de-DE", "German (Germany)", "Jörg, Käthe", "Guten Tag, was kann ich für Sie tun?"),
    _in("de-AT", "German (Austria)", "Resi, Gustl", "Grüß Gott!"),
    _in("fr-FR", "French (France)", "Amélie, Loïc", "Bonjour, comment puis-je vous aider ?"),
    _in("fr-CA", "French (Canada)", "Océane, Étienne", "Bonjour, je vous écoute."),
    _in("es-ES", "Spanish (Spain)", "Begoña, Íñigo", "¡Hola! ¿En qué puedo ayudarle?"),
    _in("es-MX", "Spanish (Mexico)", "Ximena, Raúl", "¡Qué tal! ¿Cómo le ayudo?"),
    _in("pt-BR", "Portuguese (Brazil)", "João, Conceição", "Olá, como posso ajudar?"),
    _in("pt-PT", "Portuguese (Portugal)", "Inês, Simão", "Bom dia, em que posso ser útil?"),
    _in("it-IT", "Italian (Italy)", "Niccolò, Chiara", "Buongiorno, come posso aiutarla?"),
    _in("nl-NL", "Dutch (Netherlands)", "Sanne, Joost", "Goedendag, waarmee kan ik helpen?"),
    _in("pl-PL", "Polish (Poland)", "Łucja, Paweł", "Dzień dobry, w czym mogę pomóc?"),
    _in("cs-CZ", "Czech (Czechia)", "Růžena, Jiří", "Dobrý den, jak vám mohu pomoci?"),
    _in("uk-UA", "Ukrainian (Ukraine)", "Соломія, Тарас", "Вітаю, чим можу допомогти?"),
    _in("ru-RU", "Russian (Russia)", "Аглая, Фёдор", "Здравствуйте, чем могу помочь?"),
    _in("el-GR", "Greek (Greece)", "Ελένη, Στέφανος", "Γεια σας, πώς μπορώ να βοηθήσω;"),
    _in("tr-TR", "Turkish (Türkiye)", "Işıl, Çağrı", "Merhaba, nasıl yardımcı olabilirim?"),
    _in("sv-SE", "Swedish (Sweden)", "Åsa, Björn", "Hej, hur kan jag hjälpa till?"),
    _in("da-DK", "Danish (Denmark)", "Søren, Mette", "Hej, hvad kan jeg gøre for dig?"),
    _in("fi-FI", "Finnish (Finland)", "Päivi, Väinö", "Hei, miten voin auttaa?"),
    _in("hu-HU", "Hungarian (Hungary)", "Zsófia, Győző", "Jó napot, miben segíthetek?"),
    _in("ro-RO", "Romanian (Romania)", "Ștefan, Ilinca", "Bună ziua, cu ce vă pot ajuta?"),
    _in("sw-KE", "Swahili (Kenya)", "Wanjiru, Baraka", "Habari, naweza kukusaidiaje?"),
)

_MANNERS = (
    ("Warm and unhurried", "for support lines where a caller needs time to explain"),
    ("Bright and energetic", "for product demonstrations, launches and short announcements"),
    ("Deep and measured", "for long narration, audiobooks and guided meditation"),
    ("Crisp and businesslike", "for appointment booking, reminders and order status"),
    ("Soft and reassuring", "for health care intake and sensitive conversations"),
    ("Playful and quick", "for games, language lessons and characters with attitude"),
    ("Neutral newsreader", "for bulletins, traffic updates and anything read verbatim"),
)

# Values of the `provider` filter; repeated ones are more frequent. None is a generic voice.
_PROVIDERS = (
    "eleven_labs",
    "cartesia",
    "google",
    "eleven_labs",
    "inworld",
    "cartesia",
    "lmnt",
    "eleven_labs",
    "google",
    "cartesia",
    "respeecher",
    "eleven_labs",
    None,
)
PROVIDER_LABELS = {
    "lmnt": "LMNT",
    "cartesia": "Cartesia",
    "google": "Google",
    "respeecher": "Respeecher",
    "eleven_labs": "Eleven Labs",
    "inworld": "Inworld",
}


def _definition(provider: str | None, number: int, token: str, tag: str) -> dict[str, Any]:
    match provider:
        case "eleven_labs":
            return {
                "elevenLabs": {
                    "voiceId": token[:20],
                    "model": ("eleven_flash_v2_5", "eleven_turbo_v2_5")[number % 2],
                    "speed": round(0.7 + number % 11 * 0.05, 2),
                    "useSpeakerBoost": number % 2 == 0,
                    "style": round(number % 10 / 10, 1),
                    "similarityBoost": 0.75,
                    "stability": 0.5,
                    "pronunciationDictionaries": [
                        {"dictionaryId": f"dict_{token[:12]}", "versionId": f"v{number % 7 + 1}"}
                    ],
                    "optimizeStreamingLatency": number % 5,
                    "maxSampleRate": 44_100,
                }
            }
        case "cartesia":
            emotion = ("neutral", "calm", "content", "sad")[number % 4]
            return {
                "cartesia": {
                    "voiceId": str(uuid.UUID(token)),
                    "model": "sonic-3",
                    "emotions": [emotion, "curiosity:low"],
                    "generationConfig": {
                        "volume": round(0.5 + number % 16 / 10, 1),
                        "speed": round(0.6 + number % 10 / 10, 1),
                        "emotion": emotion,
                        "pronunciationDictId": f"pdict_{token[:16]}",
                    },
                }
            }
        case "lmnt":
            speed = round(0.25 + number % 8 / 4, 2)
            return {"lmnt": {"voiceId": token, "model": "blizzard", "speed": speed}}
        case "google":
            name = ("Charon", "Kore", "Puck", "Aoede")[number % 4]
            return {"google": {"voiceId": f"{tag}-Chirp3-HD-{name}", "speakingRate": 1.0}}
        case "inworld":
            name = ("Ashley", "Dennis", "Olivia")[number % 3]
            return {
                "inworld": {
                    "voiceId": f"{name}-{token[:8]}",
                    "modelId": "inworld-tts-2",
                    "temperature": round(number % 21 / 10, 1),
                    "deliveryMode": "BALANCED",
                    "pronunciationDictionaryIds": [f"dictionary-{token[:8]}"],
                }
            }
        case "respeecher":
            return {
                "respeecher": {
                    "voiceId": f"respeecher-{token[:12]}",
                    "model": "/v1/public/tts/ua-rt" if tag == "uk-UA" else "/v1/public/tts/en-rt",
                    "seed": number,
                    "topK": -1,
                    "topP": 0.95,
                }
            }
        case _:
            return {
                "generic": {
                    "url": f"https://tts.example/v1/speak?token=sandbox-not-a-secret-{token[:8]}",
                    "headers": {
                        "Authorization": "Bearer sandbox-not-a-secret",
                        "X-Account": f"account-{token[:6]}",
                    },
                    "body": {
                        "text": "{text}",
                        "voice": token[:10],
                        "apiKey": "sandbox-not-a-secret",
                        "format": {"container": "wav", "rate": 24_000},
                    },
                    "responseSampleRate": 24_000,
                    "responseWordsPerMinute": 150,
                    "responseMimeType": "audio/wav",
                    "jsonByteEncoding": "JSON_BYTE_ENCODING_BASE64",
                }
            }


def _make_voice(number: int, base_url: str, public_url: str) -> Voice:
    identity = uuid.uuid5(_NAMESPACE, str(number))
    voice_id = str(identity)
    turn, place = divmod(number, len(LANGUAGES))
    language = LANGUAGES[place]
    provider = _PROVIDERS[(place + turn) % len(_PROVIDERS)]
    manner, purpose = _MANNERS[(place + turn) % len(_MANNERS)]
    names = language.names
    name = names[turn % len(names)]
    if turn >= len(names):
        name = f"{name} {turn // len(names) + 1}"
    private = provider is None or number % 9 == 4
    keyed, public = (
        f"{base_url}/api/voices/{voice_id}/preview",
        f"{public_url}/audio/{voice_id}.wav",
    )
    multilingual = number % 17 == 16
    voice: Voice = {"voiceId": voice_id, "name": name}
    if number % 13 != 12:
        voice["description"] = (
            None
            if number % 11 == 10
            else f"{manner}, made {purpose}; clear over telephone lines and in noisy places. "
            f"{language.greeting}"
        )
    if not multilingual:
        voice["primaryLanguage"] = language.tag
    elif number % 2:
        voice["primaryLanguage"] = None
    voice["languageLabel"] = None if multilingual else language.label
    # Ultravox documents a URL for every voice. The page must also work without one.
    voice["previewUrl"] = None if number % 37 == 36 else keyed if number % 3 == 2 else public
    voice["ownership"] = "private" if private else "public"
    voice["billingStyle"] = (
        "VOICE_BILLING_STYLE_EXTERNAL"
        if provider is None or number % 5 == 3
        else "VOICE_BILLING_STYLE_INCLUDED"
    )
    voice["provider"] = None if provider is None else PROVIDER_LABELS[provider]
    voice["definition"] = _definition(provider, number, identity.hex, language.tag)
    return voice


def make_voices(count: int = 300, *, base_url: str) -> list[Voice]:
    """Return the first `count` made-up voices. They are always the same.

    Some previews are under `base_url` and need the key. Others are public audio files, which Ultravox stores
    on another host: localhost, if `base_url` is on 127.0.0.1.
    """
    base_url = base_url.rstrip("/")
    public_url = base_url.replace("//127.0.0.1:", "//localhost:")
    return [_make_voice(number, base_url, public_url) for number in range(count)]
