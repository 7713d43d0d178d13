"""Freer wordings of clips, beside those of `motion_phrases.py`: verbs, ways and requests that combine. Data only.

Captions of a few fixed forms teach a model to look for those forms: one that showed 83 of 100 objects on such captions
showed 55 of 100 when prompts were worded otherwise. `{x}` is the object with its articles, `{v}` a verb, `{w}` a way,
`{s}` a whole sentence. Verbs need not suit the object (a guitar may walk), nor every ending agree: what matters is that
the model meets many words around the few that it has to heed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WAYS = ("left", "right", "up", "down")
"""The order of the lines of ways: the four directions of `motions.MOTIONS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionParaphrases:
    """One language. subjects: `{x}` with articles. names: plain words for objects whose CLDR names are long.

    sentences: of `{x}`, `{v}` and `{w}`. verbs: for any way. ways: adverbials of each direction. frames: around `{s}`.
    """

    subjects: tuple[str, ...]
    names: Mapping[str, str]
    sentences: tuple[str, ...]
    verbs: tuple[str, ...]
    ways: Mapping[str, tuple[str, ...]]
    frames: tuple[str, ...]


NAMED = "🍎⚽🚂🍄⭐🤖🎈🌲❤🐶🐰"
"""The objects that have plain names here, in the order of `names`; empty where CLDR's is plain."""


def _of(subjects: str, names: str, sentences: str, verbs: str, ways: str, frames: str) -> MotionParaphrases:
    lines = [tuple(line.strip().split("|")) for line in ways.strip().splitlines()]
    return MotionParaphrases(
        subjects=tuple(subjects.split("|")),
        names={emoji: name for emoji, name in zip(NAMED, names.split("|"), strict=True) if name},
        sentences=tuple(sentences.split("|")),
        verbs=tuple(verbs.split("|")),
        ways=dict(zip(WAYS, lines, strict=True)),
        frames=tuple(frames.split("|")),
    )


MOTION_PARAPHRASES: dict[str, MotionParaphrases] = {
    "en": _of(
        "the {x}|a {x}|my {x}|this {x}|one {x}|our {x}|that {x}|{x}",
        "apple|ball|train|||||fir tree|heart|puppy|rabbit",
        "{x} {v} {w}|{x} {v} {w}|{x} that {v} {w}|{w} {v} {x}|{x} which {v} {w}|there {v} {x}, {w}",
        "goes|moves|walks|runs|flies|hurtles|rides|drives|sails|swims|rolls|floats|crawls|heads|hurries|glides|shifts",
        """
        left|to the left|leftwards|towards the left|to the left side|from right to left|over to the left
        right|to the right|rightwards|towards the right|to the right side|from left to right|over to the right
        up|upwards|to the top|towards the top|into the air|from the bottom to the top|higher and higher
        down|downwards|to the ground|towards the bottom|lower and lower|from the top to the bottom|down below
        """,
        "{s}|{s}|{s}|show me: {s}|a clip in which {s}|I want to see this: {s}|look, {s}|now {s}|{s}, please|here {s}",
    ),
    "fr": _of(
        "le {x}|la {x}|mon {x}|ma {x}|un {x}|une {x}|ce {x}|cette {x}|{x}",
        "pomme|ballon de foot|train||||ballon|arbre|cœur|chiot|lapin",
        "{x} {v} {w}|{x} {v} {w}|{x} qui {v} {w}|{w}, {x} {v}|voici {x} qui {v} {w}|{x}, ça {v} {w}",
        "va|part|marche|court|vole|rampe|avance|s’en va|flotte|nage|se dirige|voyage|se déplace|file|bouge",
        """
        à gauche|vers la gauche|sur la gauche|du côté gauche|de droite à gauche|en direction de la gauche
        à droite|vers la droite|sur la droite|du côté droit|de gauche à droite|en direction de la droite
        en haut|vers le haut|dans les airs|vers le ciel|de bas en haut|en l’air|de plus en plus haut
        en bas|vers le bas|au sol|vers le sol|de haut en bas|par terre|de plus en plus bas
        """,
        "{s}|{s}|{s}|montre-moi ceci : {s}|un film où {s}|je veux voir : {s}|regarde, {s}|maintenant {s}|ici, {s}",
    ),
    "es": _of(
        "el {x}|la {x}|mi {x}|un {x}|una {x}|este {x}|esta {x}|{x}",
        "manzana|pelota|tren|seta||||árbol|corazón|perrito|conejo",
        "{x} {v} {w}|{x} {v} {w}|{x} que {v} {w}|{w} {v} {x}|aquí {v} {x} {w}|hay {x} que {v} {w}",
        "va|se va|camina|corre|se aleja|se desliza|se marcha|rueda|flota|nada|viaja|se desplaza|marcha|se mueve|pasa",
        """
        a la izquierda|hacia la izquierda|por la izquierda|al lado izquierdo|de derecha a izquierda|rumbo a la izquierda
        a la derecha|hacia la derecha|por la derecha|al lado derecho|de izquierda a derecha|rumbo a la derecha
        arriba|hacia arriba|hacia lo alto|al cielo|de abajo arriba|por los aires|cada vez más alto
        abajo|hacia abajo|hacia el suelo|al fondo|de arriba abajo|al suelo|cada vez más bajo
        """,
        "{s}|{s}|{s}|muéstrame esto: {s}|un vídeo en que {s}|quiero ver esto: {s}|mira, {s}|ahora {s}|aquí {s}",
    ),
    "de": _of(
        "der {x}|die {x}|das {x}|mein {x}|meine {x}|ein {x}|eine {x}|dieser {x}|diese {x}|{x}",
        "Apfel|Ball|Zug|Pilz|Stern||Ballon|Baum|Herz|Welpe|Hase",
        "{x} {v} {w}|{x} {v} {w}|{x}, der {w} {v}|{w} {v} {x}|da {v} {x} {w}|{x}, die {w} {v}|hier {v} {x} {w}",
        "geht|läuft|rennt|fliegt|saust|reist|fährt|treibt|schwimmt|rollt|gleitet|kriecht|eilt|zieht|flitzt|steuert",
        """
        nach links|links hinüber|auf die linke Seite|zur linken Seite|von rechts nach links|linkswärts|in Richtung links
        nach rechts|rechts hinüber|auf die rechte Seite|zur rechten Seite|von links nach rechts|rechtswärts
        nach oben|aufwärts|in die Höhe|in die Luft|von unten nach oben|hinauf|immer höher|hoch
        nach unten|abwärts|in die Tiefe|zum Boden|von oben nach unten|hinab|immer tiefer|hinunter
        """,
        "{s}|{s}|{s}|zeig mir das: {s}|ein Film, in dem {s}|ich möchte sehen: {s}|schau, {s}|jetzt: {s}|bitte: {s}",
    ),
    "it": _of(
        "il {x}|la {x}|lo {x}|il mio {x}|la mia {x}|un {x}|una {x}|questo {x}|{x}",
        "mela|palla|treno|||robot||albero|cuore|cucciolo|coniglio",
        "{x} {v} {w}|{x} {v} {w}|{x} che {v} {w}|{w} {v} {x}|qui {v} {x} {w}|c’è {x} che {v} {w}",
        "va|parte|cammina|corre|plana|scorre|avanza|rotola|fluttua|nuota|viaggia|si sposta|procede|si muove|passa",
        """
        a sinistra|sulla sinistra|al lato sinistro|da destra a sinistra|in direzione sinistra|verso il lato sinistro
        a destra|sulla destra|al lato destro|da sinistra a destra|in direzione destra|verso il lato destro
        in su|verso l’alto|nell’aria|verso il cielo|dal basso in alto|in alto|sempre più in alto
        in giù|verso il basso|a terra|verso il suolo|dall’alto in basso|al fondo|sempre più in basso
        """,
        "{s}|{s}|{s}|mostrami questo: {s}|un filmato in cui {s}|voglio vedere questo: {s}|guarda, {s}|adesso {s}",
    ),
    "pt": _of(
        "o {x}|a {x}|o meu {x}|a minha {x}|um {x}|uma {x}|este {x}|esta {x}|{x}",
        "maçã|bola|trem||estrela|robô||árvore|coração|cachorrinho|coelho",
        "{x} {v} {w}|{x} {v} {w}|{x} que {v} {w}|{w} {v} {x}|aqui {v} {x} {w}|há {x} que {v} {w}",
        "vai|segue|caminha|corre|voa|desliza|avança|rola|flutua|nada|viaja|desloca-se|anda|move-se|passa",
        """
        à esquerda|para o lado esquerdo|pela esquerda|da direita para a esquerda|na direção da esquerda|rumo à esquerda
        à direita|para o lado direito|pela direita|da esquerda para a direita|na direção da direita|rumo à direita
        acima|rumo ao alto|pelos ares|para o céu|de baixo para cima|cada vez mais alto|lá para cima
        abaixo|rumo ao chão|para o chão|ao fundo|de cima para baixo|cada vez mais baixo|lá para baixo
        """,
        "{s}|{s}|{s}|mostra-me isto: {s}|um filme em que {s}|quero ver isto: {s}|olha, {s}|agora {s}|aqui {s}",
    ),
    "ru": _of(
        "{x}|{x}|моя {x}|мой {x}|этот {x}|эта {x}|наш {x}|вот {x}",
        "яблоко|мяч|поезд||||шарик|дерево|сердце|щенок|кролик",
        "{x} {v} {w}|{x} {v} {w}|{w} {v} {x}|{v} {w} {x}|{x}, и {v} {w}|{x} быстро {v} {w}|{x} медленно {v} {w}",
        "идёт|бежит|летит|едет|шагает|скачет|катится|ползёт|движется|торопится|направляется|уходит|несётся|перемещается",
        """
        налево|влево|в левую часть|к левому краю|справа налево|по направлению влево|к левой стороне
        направо|вправо|в правую часть|к правому краю|слева направо|по направлению вправо|к правой стороне
        вверх|наверх|к небу|ввысь|снизу вверх|к верхнему краю|всё выше
        вниз|книзу|к земле|на дно|сверху вниз|к нижнему краю|всё ниже
        """,
        "{s}|{s}|{s}|покажи мне: {s}|видео, где {s}|хочу увидеть, как {s}|смотри, {s}|сейчас {s}|здесь {s}",
    ),
    "ja": _of(
        "{x}|{x}|その{x}|この{x}|私の{x}|一つの{x}",
        "りんご|ボール|汽車|きのこ||||木|ハート|子犬|うさぎ",
        "{x}が{w}{v}|{x}が{w}{v}|{w}{v}{x}|{x}は{w}{v}|{w}{x}が{v}|{x}、{w}{v}",
        "行く|動く|駆ける|走る|飛ぶ|這う|進む|移動する|転がる|泳ぐ|向かう|流れていく|動いていく|ゆっくり進む|急いで行く",
        """
        左へ|左に|左の方に|左側へ|左側に|右から左へ|左方向に|左向きに
        右へ|右に|右の方に|右側へ|右側に|左から右へ|右方向に|右向きに
        上へ|上に|上の方に|空へ|上空へ|下から上へ|上方向に|高く上へ
        下へ|下に|下の方に|地面へ|底へ|上から下へ|下方向に|低く下へ
        """,
        "{s}|{s}|{s}|{s}動画|見せて：{s}|{s}ところ|ほら、{s}|今、{s}|{s}様子",
    ),
    "zh": _of(
        "{x}|{x}|一只{x}|一个{x}|一辆{x}|这只{x}|这个{x}|我的{x}|那个{x}|一匹{x}",
        "|球|列车|||||树|爱心|小狗|小兔子",
        "{x}{w}{v}|{x}{w}{v}|{w}{v}的{x}|{x}正在{w}{v}|{x}慢慢{w}{v}|{x}{v}，{w}",
        "走|跑|飞|滑|开|游|滚|移动|前进|漂|爬|去|行驶|走去|移",
        """
        向左|往左|朝左|向左边|往左边|朝左边|从右向左|向左侧|往左方
        向右|往右|朝右|向右边|朝右边|从左向右|向右侧|往右方
        向上|往上|朝上|向上方|往上面|朝上面|从下往上|向天上|往高处
        向下|往下|朝下|向下方|朝下面|从上往下|向地面|往低处
        """,
        "{s}|{s}|{s}|给我看{s}|请让{s}|视频：{s}|我想看{s}|看，{s}|现在{s}",
    ),
    "ar": _of(
        "ال{x}|ال{x}|ال{x}|{x}|هذا ال{x}|هذه ال{x}|{x} واحد",
        "تفاحة|كرة|قطار||||بالونة|شجرة|قلب|جرو|أرنب",
        "{x} {v} {w}|{x} {v} {w}|{v} {x} {w}|{w} {v} {x}|{x} الآن {v} {w}|{x} ببطء {v} {w}",
        "يذهب|تذهب|يتحرك|تتحرك|يمشي|تمشي|يطير|تطير|يسير|تسير|ينزلق|تنزلق|يجري|تجري|يسبح|تسبح|يتجه|تتجه|ينتقل|تنتقل",
        """
        إلى اليسار|يسارا|نحو الجهة اليسرى|إلى الجانب الأيسر|من اليمين إلى اليسار|باتجاه اليسار|ناحية اليسار|لليسار
        إلى اليمين|يمينا|نحو الجهة اليمنى|إلى الجانب الأيمن|من اليسار إلى اليمين|باتجاه اليمين|ناحية اليمين|لليمين
        إلى الأعلى|نحو الأعلى|نحو السماء|في الهواء|من الأسفل إلى الأعلى|باتجاه الأعلى|لأعلى|عاليا
        إلى الأسفل|نحو الأسفل|نحو الأرض|إلى الأرض|من الأعلى إلى الأسفل|باتجاه الأسفل|لأسفل|إلى القاع
        """,
        "{s}|{s}|{s}|أرني هذا: {s}|فيديو فيه {s}|أريد أن أرى: {s}|انظر، {s}|الآن {s}|هنا {s}",
    ),
}
"""The freer wordings of every language that clips are captioned in."""
