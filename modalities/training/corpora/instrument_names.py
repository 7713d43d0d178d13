# ruff: noqa: E501
"""The instruments, drums and effects that the built-in audio model knows, and what they are called: data only.

Languages, in the order of the columns: English, French, Spanish, German, Italian, Portuguese, Japanese, Chinese,
Russian, Arabic. Several names of one language are separated by `;`, the usual one first.
"""

from __future__ import annotations

from dataclasses import dataclass

LANGUAGES = ("en", "fr", "es", "de", "it", "pt", "ja", "zh", "ru", "ar")


@dataclass(frozen=True, slots=True)
class Instrument:
    """program: of General MIDI. lowest, highest: MIDI numbers of its notes here. chords: whether it plays chords."""

    key: str
    family: str
    program: int
    lowest: int
    highest: int
    chords: bool
    emoji: str = ""


INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument("piano", "keyboard", 0, 48, 83, True, "🎹"),
    Instrument("electric piano", "keyboard", 4, 48, 83, True),
    Instrument("harpsichord", "keyboard", 6, 48, 79, True),
    Instrument("celesta", "bells", 8, 60, 83, True),
    Instrument("glockenspiel", "bells", 9, 67, 83, False),
    Instrument("music box", "bells", 10, 60, 83, True),
    Instrument("vibraphone", "bells", 11, 53, 83, True),
    Instrument("marimba", "bells", 12, 48, 83, True),
    Instrument("xylophone", "bells", 13, 60, 83, False),
    Instrument("tubular bells", "bells", 14, 60, 77, False, "🔔"),
    Instrument("steel drums", "bells", 114, 60, 83, True),
    Instrument("kalimba", "bells", 108, 60, 83, True),
    Instrument("church organ", "organ", 19, 48, 67, True),
    Instrument("accordion", "organ", 21, 53, 83, True, "🪗"),
    Instrument("harmonica", "organ", 22, 60, 83, True),
    Instrument("classical guitar", "plucked strings", 24, 48, 76, True),
    Instrument("acoustic guitar", "plucked strings", 25, 48, 76, True, "🎸"),
    Instrument("electric guitar", "plucked strings", 27, 48, 76, True),
    Instrument("distorted guitar", "distorted guitar", 30, 48, 76, False),
    Instrument("banjo", "plucked strings", 105, 53, 79, True, "🪕"),
    Instrument("sitar", "plucked strings", 104, 48, 72, False),
    Instrument("harp", "plucked strings", 46, 48, 83, True),
    Instrument("pizzicato strings", "plucked strings", 45, 48, 79, True),
    Instrument("bass guitar", "bass", 33, 40, 59, False),
    Instrument("double bass", "bass", 32, 40, 59, False),
    Instrument("violin", "bowed strings", 40, 55, 83, False, "🎻"),
    Instrument("cello", "bowed strings", 42, 43, 69, False),
    Instrument("string orchestra", "bowed strings", 48, 48, 83, True),
    Instrument("choir", "voices", 52, 48, 79, True),
    Instrument("trumpet", "brass", 56, 55, 82, False, "🎺"),
    Instrument("trombone", "brass", 57, 43, 69, False),
    Instrument("tuba", "brass", 58, 40, 59, False),
    Instrument("french horn", "brass", 60, 43, 72, True),
    Instrument("saxophone", "reeds", 65, 50, 79, False, "🎷"),
    Instrument("clarinet", "reeds", 71, 50, 83, False),
    Instrument("oboe", "reeds", 68, 58, 83, False),
    Instrument("bassoon", "reeds", 70, 40, 67, False),
    Instrument("flute", "flutes", 73, 60, 83, False, "🪈"),
    Instrument("recorder", "flutes", 74, 60, 83, False),
    Instrument("pan flute", "flutes", 75, 60, 83, False),
    Instrument("synthesizer", "synthesizer", 81, 48, 83, True),
)

DRUMS: dict[str, tuple[int, ...]] = {
    "bass drum": (36,),
    "snare drum": (38,),
    "closed hi-hat": (42,),
    "open hi-hat": (46,),
    "crash cymbal": (49,),
    "ride cymbal": (51,),
    "tom-tom": (45,),
    "hand clap": (39,),
    "cowbell": (56,),
    "tambourine": (54,),
    "triangle": (81,),
    "bongo": (60,),
    "conga": (63,),
    "woodblock": (76,),
}
"""Single strokes: keys of the General MIDI drum channel."""

BEATS: tuple[str, ...] = ("rock beat", "dance beat", "jazz beat", "march")
TEMPOS: dict[str, int] = {"slow": 84, "": 120, "fast": 168}
"""Beats a minute of the drum beats, by the word that asks for them."""

RECORDINGS: dict[str, tuple[str, ...]] = {
    "crow": ("misc_crow",),
    "burp": ("misc_burp",),
    "door": ("perc_door",),
    "cash register": ("perc_till",),
    "swoosh": ("perc_swoosh", "perc_swash", "ambi_swoosh"),
    "finger snap": ("perc_snap", "perc_snap2"),
    "record scratch": ("vinyl_scratch",),
    "tape rewind": ("vinyl_rewind", "vinyl_backspin"),
    "vinyl crackle": ("vinyl_hiss",),
    "3D printer": ("loop_3d_printer",),
    "robot": ("mehackit_robot1", "mehackit_robot2", "mehackit_robot3", "glitch_robot1", "glitch_robot2"),
    "explosion": ("misc_cineboom",),
    "large bell": ("perc_bell", "perc_bell2"),
    "singing glass": ("ambi_glass_rub", "ambi_glass_hum"),
    "dark drone": ("ambi_drone", "loop_drone_g_97"),
    "tabla": ("tabla_ghe5", "tabla_tun1", "tabla_na_o", "loop_tabla"),
    "breakbeat": ("loop_amen", "loop_breakbeat"),
    "drum roll": ("drum_roll",),
}
"""Recorded sounds: files of the package sonic-pi-samples."""

NOISES: dict[str, int] = {
    "sea waves": 122,
    "birdsong": 123,
    "telephone": 124,
    "helicopter": 125,
    "applause": 126,
    "gunshot": 127,
}
"""Effects of the soundfont: programs of General MIDI."""

_TABLE = """
piano|piano;grand piano|piano;piano à queue|piano;piano de cola|Klavier;Flügel|pianoforte;piano|piano|ピアノ;グランドピアノ|钢琴|фортепиано;пианино;рояль|بيانو
electric piano|electric piano;Rhodes piano|piano électrique|piano eléctrico|E-Piano;elektrisches Klavier|piano elettrico|piano elétrico|電子ピアノ;エレクトリックピアノ|电钢琴|электропиано;электрическое пианино|بيانو كهربائي
harpsichord|harpsichord|clavecin|clavecín;clave|Cembalo|clavicembalo|cravo|チェンバロ;ハープシコード|大键琴;羽管键琴|клавесин|هاربسيكورد
celesta|celesta|célesta|celesta|Celesta|celesta|celesta|チェレスタ|钢片琴|челеста|سيليستا
glockenspiel|glockenspiel|glockenspiel;carillon|glockenspiel;campanólogo|Glockenspiel|glockenspiel;campanelli|glockenspiel;jogo de sinos|グロッケンシュピール;鉄琴|钟琴|колокольчики;глокеншпиль|غلوكنشبيل
music box|music box|boîte à musique|caja de música|Spieluhr;Spieldose|carillon a manovella;scatola musicale|caixinha de música;caixa de música|オルゴール|音乐盒;八音盒|музыкальная шкатулка|صندوق موسيقى
vibraphone|vibraphone;vibes|vibraphone|vibráfono|Vibraphon|vibrafono|vibrafone|ビブラフォン;ヴィブラフォン|颤音琴|вибрафон|فيبرافون
marimba|marimba|marimba|marimba|Marimba|marimba|marimba|マリンバ|马林巴;马林巴琴|маримба|ماريمبا
xylophone|xylophone|xylophone|xilófono|Xylophon|xilofono|xilofone|木琴;シロフォン|木琴|ксилофон|إكسيليفون
tubular bells|tubular bells;chimes|cloches tubulaires|campanas tubulares|Röhrenglocken|campane tubolari|sinos tubulares|チューブラーベル|管钟|трубчатые колокола|أجراس أنبوبية
steel drums|steel drums;steelpan|steel drum;tambour d'acier|tambor metálico;steel drum|Steel Drum;Stahltrommel|steel drum;tamburo d'acciaio|tambor de aço|スチールドラム;スティールパン|钢鼓|стальной барабан;стилпан|طبل فولاذي
kalimba|kalimba;thumb piano|kalimba|kalimba|Kalimba;Daumenklavier|kalimba|kalimba|カリンバ|卡林巴琴;拇指琴|калимба|كاليمبا
church organ|church organ;pipe organ;organ|orgue;orgue d'église|órgano;órgano de iglesia|Orgel;Kirchenorgel|organo;organo da chiesa|órgão;órgão de igreja|オルガン;パイプオルガン|管风琴;教堂风琴|орган;церковный орган|أرغن;أرغن كنسي
accordion|accordion|accordéon|acordeón|Akkordeon;Ziehharmonika|fisarmonica|acordeão;sanfona|アコーディオン|手风琴|аккордеон|أكورديون
harmonica|harmonica;mouth organ|harmonica|armónica|Mundharmonika|armonica;armonica a bocca|gaita de boca;harmônica|ハーモニカ|口琴|губная гармоника|هارمونيكا
classical guitar|classical guitar;nylon-string guitar|guitare classique|guitarra clásica;guitarra española|klassische Gitarre;Konzertgitarre|chitarra classica|violão;guitarra clássica|クラシックギター|古典吉他|классическая гитара|غيتار كلاسيكي
acoustic guitar|acoustic guitar;guitar;steel-string guitar|guitare acoustique;guitare|guitarra acústica;guitarra|Gitarre;Akustikgitarre|chitarra acustica;chitarra|guitarra acústica;guitarra|アコースティックギター;ギター|吉他;木吉他|гитара;акустическая гитара|غيتار;جيتار
electric guitar|electric guitar;clean electric guitar|guitare électrique|guitarra eléctrica|E-Gitarre;elektrische Gitarre|chitarra elettrica|guitarra elétrica|エレキギター|电吉他|электрогитара|غيتار كهربائي
distorted guitar|distorted guitar;heavy metal guitar|guitare saturée;guitare distordue|guitarra distorsionada|verzerrte Gitarre|chitarra distorta|guitarra distorcida|ディストーションギター|失真吉他|гитара с дисторшном;гитара с перегрузом|غيتار مشوه
banjo|banjo|banjo|banjo|Banjo|banjo|banjo|バンジョー|班卓琴|банджо|بانجو
sitar|sitar|sitar|sitar|Sitar|sitar|sitar;cítara|シタール|西塔琴|ситар|سيتار
harp|harp|harpe|arpa|Harfe|arpa|harpa|ハープ;竪琴|竖琴|арфа|قيثارة
pizzicato strings|pizzicato strings;plucked strings|cordes pincées;cordes pizzicato|cuerdas en pizzicato|Pizzicato-Streicher;gezupfte Streicher|archi pizzicati;pizzicato|cordas em pizzicato|ピチカート;ピッツィカート|拨弦;弦乐拨奏|пиццикато;струнные пиццикато|بيزيكاتو
bass guitar|bass guitar;electric bass|guitare basse;basse électrique|bajo eléctrico;bajo|E-Bass;Bassgitarre|basso elettrico|baixo elétrico;baixo|ベースギター;エレキベース|贝斯;电贝斯|бас-гитара|غيتار باس
double bass|double bass;upright bass;contrabass|contrebasse|contrabajo|Kontrabass|contrabbasso|contrabaixo|コントラバス|低音提琴|контрабас|كونترباص
violin|violin;fiddle|violon|violín|Violine;Geige|violino|violino|バイオリン;ヴァイオリン|小提琴|скрипка|كمان
cello|cello|violoncelle|violonchelo;chelo|Cello;Violoncello|violoncello|violoncelo|チェロ|大提琴|виолончель|تشيلو
string orchestra|string orchestra;strings;string section|orchestre à cordes;cordes|orquesta de cuerdas;cuerdas|Streichorchester;Streicher|orchestra d'archi;archi|orquestra de cordas;cordas|弦楽合奏;ストリングス|弦乐团;弦乐|струнный оркестр;струнные|أوركسترا وترية
choir|choir;voices singing aah;chorus|chœur;chorale|coro;coro de voces|Chor|coro;coro di voci|coro;coral|合唱;コーラス|合唱团;合唱|хор|كورال;جوقة
trumpet|trumpet|trompette|trompeta|Trompete|tromba|trompete|トランペット|小号|труба|بوق;ترومبيت
trombone|trombone|trombone|trombón|Posaune|trombone|trombone|トロンボーン|长号|тромбон|ترومبون
tuba|tuba|tuba|tuba|Tuba|tuba|tuba|チューバ|大号|туба|توبا
french horn|French horn;horn|cor;cor d'harmonie|trompa;corno francés|Waldhorn;Horn|corno;corno francese|trompa|ホルン;フレンチホルン|圆号|валторна|هورن فرنسي
saxophone|saxophone;sax|saxophone|saxofón;saxo|Saxophon;Saxofon|sassofono;sax|saxofone;sax|サックス;サクソフォン|萨克斯;萨克斯管|саксофон|ساكسفون
clarinet|clarinet|clarinette|clarinete|Klarinette|clarinetto|clarinete|クラリネット|单簧管|кларнет|كلارينيت
oboe|oboe|hautbois|oboe|Oboe|oboe|oboé|オーボエ|双簧管|гобой|أوبوا
bassoon|bassoon|basson|fagot|Fagott|fagotto|fagote|ファゴット;バスーン|巴松管;大管|фагот|باسون
flute|flute|flûte;flûte traversière|flauta;flauta travesera|Flöte;Querflöte|flauto;flauto traverso|flauta;flauta transversal|フルート|长笛|флейта|فلوت;ناي
recorder|recorder|flûte à bec|flauta dulce|Blockflöte|flauto dolce|flauta doce|リコーダー|竖笛|блокфлейта|فلوت مستقيم
pan flute|pan flute;panpipes|flûte de Pan|flauta de Pan;zampoña|Panflöte|flauto di Pan|flauta de Pã|パンフルート;パンパイプ|排箫|флейта Пана|فلوت بان
synthesizer|synthesizer;synth;synth lead|synthétiseur|sintetizador|Synthesizer|sintetizzatore|sintetizador|シンセサイザー;シンセ|合成器|синтезатор|سنثسيزر
bass drum|bass drum;kick drum|grosse caisse|bombo|große Trommel;Bassdrum|grancassa|bumbo|バスドラム|底鼓;大鼓|большой барабан|طبل كبير
snare drum|snare drum;snare|caisse claire|caja;redoblante|kleine Trommel;Snare|rullante|caixa de bateria|スネアドラム|军鼓;小军鼓|малый барабан|طبل صغير
closed hi-hat|closed hi-hat;hi-hat|charleston fermé|charles cerrado|geschlossene Hi-Hat|charleston chiuso|chimbal fechado|クローズドハイハット|闭合踩镲|закрытый хай-хэт|هاي هات مغلق
open hi-hat|open hi-hat|charleston ouvert|charles abierto|offene Hi-Hat|charleston aperto|chimbal aberto|オープンハイハット|开放踩镲|открытый хай-хэт|هاي هات مفتوح
crash cymbal|crash cymbal;cymbal crash|cymbale crash;cymbale|platillo crash;platillos|Crash-Becken;Becken|piatto crash;piatti|prato de ataque;prato|クラッシュシンバル;シンバル|吊镲;强音镲|тарелка крэш;тарелки|صنج
ride cymbal|ride cymbal|cymbale ride|platillo ride|Ride-Becken|piatto ride|prato de condução|ライドシンバル|叮叮镲|тарелка райд|صنج الإيقاع
tom-tom|tom-tom drum;tom drum|tom;tambour tom|tom;tambor tom|Tomtom;Tom-Trommel|tom;tamburo tom|tom-tom|タム;タムタム|嗵鼓|том-том|طبل توم
hand clap|hand clap;handclap|claquement de mains|palmada|Händeklatschen;Klatscher|battito di mani|palma|手拍子;ハンドクラップ|拍手声|хлопок в ладоши|تصفيقة
cowbell|cowbell|cloche à vache|cencerro|Kuhglocke|campanaccio|cincerro;chocalho de vaca|カウベル|牛铃|коровий колокольчик;ковбелл|جرس البقر
tambourine|tambourine|tambourin|pandereta|Tamburin|tamburello|pandeireta|タンバリン|铃鼓|бубен|دف
triangle|triangle instrument;triangle|triangle|triángulo|Triangel|triangolo|triângulo|トライアングル|三角铁|треугольник|مثلث موسيقي
bongo|bongo drum;bongo|bongo|bongó|Bongo|bongo|bongô|ボンゴ|邦戈鼓|бонго|بونغو
conga|conga drum;conga|conga|conga;tumbadora|Conga|conga|conga;tumbadora|コンガ|康加鼓|конга|كونغا
woodblock|wood block;woodblock|wood-block;bloc de bois|caja china;bloque de madera|Holzblock|wood block;blocco di legno|bloco de madeira|ウッドブロック|木鱼|деревянная коробочка|كتلة خشبية
rock beat|rock drum beat;rock drums|rythme de batterie rock|ritmo de batería rock|Rock-Schlagzeug|ritmo di batteria rock|batida de bateria rock|ロックのドラム|摇滚鼓点|рок-ритм на ударных|إيقاع طبول روك
dance beat|dance drum beat;techno beat;disco beat|rythme de batterie dance;rythme techno|ritmo de batería dance;ritmo techno|Techno-Beat;Disco-Schlagzeug|ritmo dance;ritmo techno|batida dance;batida techno|ダンスビート;テクノビート|舞曲鼓点;电子鼓点|танцевальный ритм;техно-ритм|إيقاع رقص;إيقاع تكنو
jazz beat|jazz drum beat;swing drums|rythme de batterie jazz;batterie swing|ritmo de batería jazz|Jazz-Schlagzeug;Swing-Schlagzeug|ritmo di batteria jazz|batida de bateria jazz|ジャズのドラム|爵士鼓点|джазовый ритм на ударных|إيقاع طبول جاز
march|marching drums;military snare march|tambours de marche;marche militaire|tambores de marcha;marcha militar|Marschtrommeln;Marschmusik|tamburi da marcia;marcia militare|tambores de marcha;marcha militar|行進曲のドラム;マーチ|进行曲鼓点|марш на барабанах;военный марш|طبول مسيرة عسكرية
crow|crow;crow cawing|corbeau;croassement de corbeau|cuervo;graznido de cuervo|Krähe;krächzende Krähe|corvo;corvo che gracchia|corvo;corvo grasnando|カラス;カラスの鳴き声|乌鸦;乌鸦叫|ворона;карканье вороны|غراب;نعيق غراب
burp|burp;belch|rot;éructation|eructo|Rülpser|rutto|arroto|げっぷ|打嗝|отрыжка|تجشؤ
door|door closing;door slam|porte qui se ferme;porte|puerta que se cierra;puerta|Tür fällt zu;Tür|porta che si chiude;porta|porta a fechar;porta|ドアが閉まる音;ドア|关门声;门|закрывается дверь;дверь|إغلاق باب;باب
cash register|cash register|caisse enregistreuse|caja registradora|Registrierkasse|registratore di cassa|caixa registradora|レジ|收银机|кассовый аппарат|آلة تسجيل النقد
swoosh|swoosh;whoosh|souffle rapide;bruissement|silbido de aire;zumbido rápido|Rauschen;Zischen|fruscio veloce;sibilo|zunido rápido;sopro|シュッという音|嗖的一声|свист воздуха;шорох|حفيف;صوت اندفاع الهواء
finger snap|finger snap|claquement de doigts|chasquido de dedos|Fingerschnippen|schiocco di dita|estalo de dedos|指パッチン|打响指|щелчок пальцами|طقطقة أصابع
record scratch|record scratch;turntable scratch;DJ scratch|scratch de vinyle|scratch de disco|Schallplatten-Scratch|scratch di vinile|scratch de vinil|スクラッチ;レコードスクラッチ|搓碟|скретч пластинки|خدش أسطوانة
tape rewind|tape rewind;rewind;record backspin|rembobinage|rebobinado|Zurückspulen|riavvolgimento|rebobinar|巻き戻し|倒带|перемотка назад|إرجاع الشريط
vinyl crackle|vinyl crackle;record noise|craquement de vinyle;bruit de vinyle|crujido de vinilo;ruido de disco|Schallplattenknistern|fruscio di vinile|chiado de vinil|レコードのノイズ|唱片杂音|треск пластинки|طقطقة أسطوانة
3D printer|3D printer|imprimante 3D|impresora 3D|3D-Drucker|stampante 3D|impressora 3D|3Dプリンター|3D打印机|3D-принтер|طابعة ثلاثية الأبعاد
robot|robot;robot voice|robot;voix de robot|robot;voz de robot|Roboter;Roboterstimme|robot;voce di robot|robô;voz de robô|ロボット;ロボットの声|机器人|робот;голос робота|روبوت;صوت روبوت
explosion|explosion;boom|explosion|explosión|Explosion|esplosione|explosão|爆発|爆炸|взрыв|انفجار
large bell|large bell;church bell;gong|cloche;grosse cloche|campana grande;campana|Glocke;Kirchenglocke|campana;grande campana|sino;sino grande|鐘;大きな鐘|大钟;钟声|колокол;большой колокол|جرس كبير
singing glass|singing glass;glass harmonica|verre frotté;verre qui chante|copa de cristal cantando|singendes Glas;Glasharfe|bicchiere che suona|copo cantante|グラスハープ|玻璃杯琴|поющий бокал|كأس زجاجي يغني
dark drone|dark drone;ambient drone|bourdon sombre;nappe sombre|zumbido oscuro|dunkler Drone;dunkles Brummen|ronzio cupo|zumbido escuro|暗いドローン|低沉的嗡鸣|тёмный гул|طنين مظلم
tabla|tabla;tabla drum|tabla|tabla|Tabla|tabla|tabla|タブラ|塔布拉鼓|табла|طبلة هندية
breakbeat|breakbeat;amen break|breakbeat|breakbeat|Breakbeat|breakbeat|breakbeat|ブレイクビーツ|碎拍|брейкбит|بريك بيت
drum roll|drum roll|roulement de tambour|redoble de tambor|Trommelwirbel|rullo di tamburo|rufar de tambores|ドラムロール|鼓声滚奏|барабанная дробь|قرع طبول متواصل
sea waves|sea waves;ocean;seashore|vagues;mer;bord de mer|olas;mar|Meeresrauschen;Wellen|onde del mare;mare|ondas do mar;mar|波の音;海|海浪;海|шум моря;морские волны|أمواج البحر;بحر
birdsong|birdsong;birds chirping;bird|chant d'oiseau;oiseaux|canto de pájaro;pájaros|Vogelgezwitscher;Vogel|canto di uccelli;uccelli|canto de pássaros;pássaros|鳥のさえずり;鳥|鸟叫;鸟鸣|пение птиц;птица|زقزقة عصافير;عصفور
telephone|telephone ringing;telephone;phone|téléphone qui sonne;téléphone|teléfono sonando;teléfono|Telefonklingeln;Telefon|telefono che squilla;telefono|telefone tocando;telefone|電話のベル;電話|电话铃;电话|телефонный звонок;телефон|رنين هاتف;هاتف
helicopter|helicopter|hélicoptère|helicóptero|Hubschrauber|elicottero|helicóptero|ヘリコプター|直升机|вертолёт|مروحية
applause|applause;crowd clapping|applaudissements|aplausos|Applaus;Beifall|applausi|aplausos|拍手喝采|掌声|аплодисменты|تصفيق الجمهور
gunshot|gunshot;gun shot|coup de feu|disparo|Schuss;Pistolenschuss|sparo;colpo di pistola|tiro;disparo|銃声|枪声|выстрел|طلق ناري
"""


def _names() -> dict[str, dict[str, tuple[str, ...]]]:
    rows = [line.split("|") for line in _TABLE.strip().splitlines()]
    return {
        key: {language: tuple(names.split(";")) for language, names in zip(LANGUAGES, columns, strict=True)}
        for key, *columns in rows
    }


NAMES: dict[str, dict[str, tuple[str, ...]]] = _names()
"""key -> language -> names, of every instrument, drum, beat and effect."""
