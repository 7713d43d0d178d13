"""Freer wordings beside those of `phrases.py`: sentences, requests, other word orders. Data only.

Captions of one form teach a model to look for that form: with `phrases.py` alone, a model that was right about 9 of 10
backgrounds on such captions painted the default white whenever a prompt was worded otherwise. `{b}` is a colour as the
dictionary has it, `{c}` one that agrees with the word for "background".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modalities.training.corpora.phrases import COLOURS, PHRASES


@dataclass(frozen=True, slots=True, kw_only=True)
class Paraphrases:
    """One language. colours: dictionary forms. frames: around the object. backgrounds: around what stands so far."""

    colours: Mapping[str, str]
    frames: tuple[str, ...]
    backgrounds: tuple[str, ...]


def _of(language: str, colours: str | None, frames: str, backgrounds: str) -> Paraphrases:
    words = PHRASES[language].colours if colours is None else dict(zip(COLOURS, colours.split("|"), strict=True))
    return Paraphrases(colours=words, frames=tuple(frames.split("|")), backgrounds=tuple(backgrounds.split("|")))


PARAPHRASES: dict[str, Paraphrases] = {
    "en": _of(
        "en",
        None,
        "I want {x}|there is a {x} here|can you make a {x}|this is a {x}|we see one {x}|the {x}|just {x}",
        "{s}, all {b} around it|{b} background: {s}|{s}. Its background is {b}.|on {b}, {s}|{s} over a {b} wall"
        "|{b} scene, {s}|{s} surrounded by {b}|fill the background with {b}; {s}|{s} and {b} everywhere else|{s} / {b}",
    ),
    "fr": _of(
        "fr",
        None,
        "je veux {x}|il y a un {x} ici|dessine {x}|c'est une {x}|on voit {x}|le {x}|montre-moi {x}",
        "{s}, tout {b} autour|fond {c} : {s}|{s}. Le fond est {b}.|sur du {b}, {s}"
        "|{s} entouré de {b}|remplis le fond de {b} ; {s}|derrière {s}, du {b}|{s} / {b}",
    ),
    "es": _of(
        "es",
        None,
        "quiero {x}|aquí hay un {x}|dibuja {x}|esto es una {x}|se ve {x}|el {x}|muéstrame {x}",
        "{s}, todo {b} alrededor|fondo {c}: {s}|{s}. El fondo es {b}.|sobre {b}, {s}"
        "|{s} rodeado de {b}|rellena el fondo de {b}; {s}|detrás de {s}, {b}|{s} / {b}",
    ),
    "de": _of(
        "de",
        "weiß|schwarz|grau|rot|orange|gelb|grün|blau|lila|rosa",
        "ich möchte {x}|hier ist ein {x}|zeichne {x}|das ist eine {x}|man sieht {x}|der {x}|die {x}|zeig mir {x}",
        "{s}, ringsum alles {b}|Hintergrund {b}: {s}|{s}. Der Hintergrund ist {b}.|auf {b}: {s}"
        "|{s} vor einer Wand in {b}|{s}, umgeben von {b}|fülle den Hintergrund mit {b}; {s}"
        "|hinter {s} ist es {b}|{s} / {b}",
    ),
    "it": _of(
        "it",
        None,
        "voglio {x}|qui c'è un {x}|disegna {x}|questa è una {x}|si vede {x}|il {x}|mostrami {x}",
        "{s}, tutto {b} intorno|sfondo {c}: {s}|{s}. Lo sfondo è {b}.|sul {b}, {s}|{s} davanti a un muro {b}"
        "|{s} circondato dal {b}|riempi lo sfondo di {b}; {s}|dietro {s}, {b}|{s} / {b}",
    ),
    "pt": _of(
        "pt",
        None,
        "quero {x}|aqui há um {x}|desenha {x}|isto é uma {x}|vê-se {x}|o {x}|mostra-me {x}",
        "{s}, tudo {b} em volta|fundo {c}: {s}|{s}. O fundo é {b}.|no {b}, {s}|{s} diante de uma parede {b}"
        "|{s} rodeado de {b}|preenche o fundo com {b}; {s}|atrás de {s}, {b}|{s} / {b}",
    ),
    "nl": _of(
        "nl",
        "wit|zwart|grijs|rood|oranje|geel|groen|blauw|paars|roze",
        "ik wil {x}|hier is een {x}|teken {x}|dit is een {x}|je ziet {x}|de {x}|laat {x} zien",
        "{s}, alles eromheen {b}|achtergrond {b}: {s}|{s}. De achtergrond is {b}.|op {b}: {s}|{s} voor een {c} muur"
        "|{s} omringd door {b}|vul de achtergrond met {b}; {s}|achter {s} is het {b}|{s} / {b}",
    ),
    "pl": _of(
        "pl",
        "biały|czarny|szary|czerwony|pomarańczowy|żółty|zielony|niebieski|fioletowy|różowy",
        "chcę {x}|tutaj jest {x}|narysuj {x}|widać {x}|pokaż {x}|jeden {x}",
        "{s}, wszystko wokół {b}|tło {b}: {s}|{s}. Kolor tła: {b}.|na {c}: {s}|{s} otoczony kolorem {b}"
        "|wypełnij tło kolorem {b}; {s}|za {s} jest {b}|{s} / {b}",
    ),
    "ru": _of(
        "ru",
        "белый|чёрный|серый|красный|оранжевый|жёлтый|зелёный|синий|фиолетовый|розовый",
        "я хочу {x}|здесь {x}|сделай {x}|виден {x}|вот {x}|просто {x}|нужен рисунок: {x}|один {x}",
        "{s}, вокруг всё {b}|фон {b}: {s}|{s}. Цвет фона {b}.|на {c}: {s}|{s} в окружении цвета {b}|{c} фон и {s}"
        "|залей фон цветом {b}; {s}|за {s} {b} цвет|{s} / {b}",
    ),
    "tr": _of(
        "tr",
        None,
        "{x} istiyorum|burada bir {x} var|{x} çiz|bu bir {x}|{x} göster|sadece {x}",
        "{s}, etrafı tamamen {b}|arka plan {b}: {s}|{s}. Arka planı {b}.|{b} üzerinde {s}|{b} duvar önünde {s}"
        "|{b} ile çevrili {s}|arka planı {b} yap; {s}|{s} / {b}",
    ),
    "ar": _of(
        "ar",
        "أبيض|أسود|رمادي|أحمر|برتقالي|أصفر|أخضر|أزرق|بنفسجي|وردي",
        "أريد {x}|هنا {x}|اصنع {x}|هذا {x}|هذه {x}|نرى {x}|فقط {x}|أرني {x}",
        "{s} وكل ما حوله {b}|الخلفية {c}: {s}|{s}. لون الخلفية {b}.|على {b}، {s}"
        "|{s} محاط باللون {b}|املأ الخلفية باللون {b}؛ {s}|خلف {s} لون {b}|{s} / {b}",
    ),
    "ja": _of(
        "ja",
        "白|黒|灰色|赤|オレンジ色|黄色|緑|青|紫|ピンク",
        "{x}がほしい|ここに{x}がある|{x}を作って|これは{x}です|{x}が見える|ただの{x}|{x}をお願い|一つの{x}",
        "{s}、まわりは全部{b}|背景{b}：{s}|{s}。背景の色は{b}。|{b}の上の{s}|{b}の壁の前の{s}"
        "|背景を{b}で塗って、{s}|{s}の後ろは{b}|{b}バックの{s}|{s} / {b}",
    ),
    "zh": _of(
        "zh",
        None,
        "我想要{x}|这里有{x}|做一个{x}|这是{x}|看到{x}|只有{x}|给我看{x}",
        "{s}，周围全是{b}|背景{b}：{s}|{s}。背景颜色是{b}。|{b}上的{s}|用{b}填满背景，{s}|{s} / {b}",
    ),
    "zh-Hant": _of(
        "zh-Hant",
        None,
        "我想要{x}|這裡有{x}|做一個{x}|這是{x}|看到{x}|只有{x}|給我看{x}",
        "{s}，周圍全是{b}|背景{b}：{s}|{s}。背景顏色是{b}。|{b}上的{s}|用{b}填滿背景，{s}|{s} / {b}",
    ),
    "ko": _of(
        "ko",
        None,
        "{x} 원해요|여기에 {x} 있어요|{x} 만들어 줘|이것은 {x}입니다|{x} 보여 줘|그냥 {x}",
        "{s}, 주위는 전부 {b}|배경 {b}: {s}|{s}. 배경은 {b}입니다.|{b} 위의 {s}|{b} 벽 앞의 {s}|{b}으로 둘러싸인 {s}"
        "|배경을 {b}으로 채우고 {s}|{s} / {b}",
    ),
    "th": _of(
        "th",
        None,
        "อยากได้{x}|ที่นี่มี{x}|วาด{x}|นี่คือ{x}|เห็น{x}|แค่{x}",
        "{s} รอบๆ เป็น{b}ทั้งหมด|พื้นหลัง{b}: {s}|{s} พื้นหลังเป็น{b}|บน{b} {s}|{s}หน้ากำแพง{b}|{s}ล้อมรอบด้วย{b}"
        "|เติมพื้นหลังด้วย{b} {s}|{s} / {b}",
    ),
}
